"""The best classifier in the time there is: what to try, what of it fits, carrying it out, and what comes of it."""
