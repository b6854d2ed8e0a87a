"""Sound to spectrograms and back.

wav         reads any recording, writes 16-bit WAV
stft        short-time Fourier transform and its least-squares inverse
mel         the log-mel spectrogram that the diffusion model generates
griffin_lim log-mel spectrogram to sound, by phase reconstruction
phase       phases from the slopes of log magnitudes, where griffin_lim begins
inverter    log-mel spectrogram to sound for the commands: by griffin_lim, or a pretrained GAN
distance    how far a sound is from the recording that it should be
container   where the sound in a file is, and what its header should say
splice      new sound in a recording
midi        notes, and MIDI files
synth       a small corpus of synthesised music
contract    the log-mel spectrogram's numbers
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
