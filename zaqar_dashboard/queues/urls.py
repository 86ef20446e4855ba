# SPDX-License-Identifier: Apache-2.0
"""Addresses of the panel."""

from django.urls import path

from zaqar_dashboard.queues import views

# A queue may be called "create": names have a part of their own.
urlpatterns = [
    path('', views.IndexView.as_view(), name='index'),
    path('create/', views.CreateView.as_view(), name='create'),
    path('queue/<str:queue_name>/', views.DetailView.as_view(), name='detail'),
    path(
        'queue/<str:queue_name>/update/',
        views.UpdateView.as_view(),
        name='update',
    ),
    path(
        'queue/<str:queue_name>/share/',
        views.ShareView.as_view(),
        name='share',
    ),
    path(
        'queue/<str:queue_name>/subscribe/',
        views.SubscribeView.as_view(),
        name='subscribe',
    ),
]
