"""Notes into music, after Hawthorne et al. (2022), "Multi-instrument music synthesis with spectrogram diffusion"."""
