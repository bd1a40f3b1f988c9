"""File formats of recordings and demonstrations, one file each."""
