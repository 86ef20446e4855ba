# SPDX-License-Identifier: Apache-2.0
"""Addresses of the panel."""

from django.urls import path

from zaqar_dashboard.pools import views

urlpatterns = [
    path('', views.IndexView.as_view(), name='index'),
    path('create/', views.CreateView.as_view(), name='create'),
    path('pool/<str:name>/', views.UpdateView.as_view(), name='update'),
]
