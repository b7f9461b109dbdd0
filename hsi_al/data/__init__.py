"""Patches gathered on the device, and the LightningDataModule that serves pixel ids."""
