"""Backbones, the loss prediction module and the LightningModule that bundles them."""
