"""What a promotion and a rollback cost."""
