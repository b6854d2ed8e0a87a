"""Notes into music: spectrogram diffusion (Hawthorne et al. 2022)."""
