"""What trains layers."""
