"""Music from noise, every line of the arithmetic in front of you.

    recordings --audio.log_mel--> (frames, 128) --data--> windows --train--> unet --sample--> log-mel
                                                                                      --audio.inverter--> sound

audio       sound files, STFT, mel filter bank, inverters (GAN, Griffin-Lim), the embedded music
nn          layers with their backward passes
unet        the network that predicts the noise
diffusion   schedules, the forward process, samplers
optim       AdamW and the moving average of the weights
fad         the Frechet distance between two sets of clips, and a pretrained listener
data train sample experiments      the commands: python -m ddim_from_scratch.NAME --help
compose steps                      what they draw beyond one window; how few steps it takes
backend tree config                what all of them stand on
"""

__version__ = "0.1.0"
