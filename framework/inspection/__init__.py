"""What is wrong with pictures and labels before anything is trained on them."""
