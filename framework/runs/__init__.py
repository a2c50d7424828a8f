"""What makes a training a run: its checks, folder, record and banner, going on with it, its estimate."""
