"""Many photos: what to do, what is done, and doing the rest."""
