"""Care for what a store keeps: how much of the past stays, and what damage means to whom."""
