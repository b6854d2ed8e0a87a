"""The paper's system: recordings as log-mel spectrograms, and a U-Net that removes their noise."""
