"""The log-mel spectrogram's numbers. This is their only home: change one here, and train again.

The GAN inverter was trained with these, so with others only Griffin-Lim makes sound.
"""

SR = 16000  # samples a second
FRAME_LENGTH = 640  # samples: 40 ms
HOP_LENGTH = 320  # samples: 20 ms
N_FFT = 1024
N_MELS = 128
F_MIN_HZ = 0.0
F_MAX_HZ = 8000.0
MEL_MIN = 1e-5  # mel magnitudes are clipped to this range before the logarithm
MEL_MAX = 1e8

FRAMES_PER_SECOND = SR / HOP_LENGTH
