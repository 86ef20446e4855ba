"""What is owed to subscribers: notices, deliveries, and those who send."""
