"""Sound in, pictures out, and back.

wav         read any recording, write 16-bit WAV
stft        short-time Fourier transform and its least-squares inverse
mel         the log-mel spectrogram that the diffusion model draws
griffin_lim a spectrogram back to sound: phases from consistency alone
inverter    the same by a pretrained GAN, where it is at hand; what the commands call
synth       the embedded music: a small corpus made by this code
"""

from .griffin_lim import griffin_lim
from .inverter import load_inverter
from .mel import log_mel, mel_matrix
from .stft import istft, stft
from .wav import AudioError, find_audio, load_audio, write_wav

__all__ = [
    "AudioError",
    "find_audio",
    "griffin_lim",
    "istft",
    "load_audio",
    "load_inverter",
    "log_mel",
    "mel_matrix",
    "stft",
    "write_wav",
]
