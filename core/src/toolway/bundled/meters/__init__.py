"""What is counted of every request, call and attempt, while something exports it."""
