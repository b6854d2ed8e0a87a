"""Sound to spectrograms and back.

wav         reads any recording, writes 16-bit WAV
stft        short-time Fourier transform and its least-squares inverse
mel         the log-mel spectrogram that the diffusion model generates
griffin_lim log-mel spectrogram to sound, by phase reconstruction
phase       phases from the slopes of log magnitudes, where griffin_lim begins
distance    how far a sound is from the recording that it should be
inverter    the same by a pretrained GAN if it is installed; used by the commands
synth       a small corpus of synthesised music
"""

from .griffin_lim import griffin_lim, plain_griffin_lim
from .inverter import load_inverter
from .mel import log_mel, mel_matrix
from .stft import istft, stft
from .wav import AudioError, LeftOut, find_audio, full_scale, in_words, load_audio, write_wav

__all__ = [
    "AudioError",
    "LeftOut",
    "find_audio",
    "full_scale",
    "griffin_lim",
    "in_words",
    "istft",
    "load_audio",
    "load_inverter",
    "log_mel",
    "mel_matrix",
    "plain_griffin_lim",
    "stft",
    "write_wav",
]
