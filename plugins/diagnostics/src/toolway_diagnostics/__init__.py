"""What is wrong with a gateway and what to do about it, and a report for whoever helps."""
