"""What is going to be done, decided before anything is edited."""
