"""The HTTP client for webhooks."""
