# SPDX-License-Identifier: Apache-2.0
# Shorthands for ./dev; "./dev help" describes them.

.DEFAULT_GOAL := help
.PHONY: help run test lint bench soak clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s %s\n", $$1, $$2}' \
		$(MAKEFILE_LIST)

run: ## set up what is missing and serve on http://127.0.0.1:8888
	@./dev run

test: ## set up what tests need and run them all
	@./dev test

lint: ## check formatting, types and layers
	@./dev lint

bench: ## measure each operation against a bare WSGI function
	@./dev bench

soak: ## kill processes at random under load and count the messages
	@./dev soak

clean: ## remove environments and caches from this folder
	@./dev clean
