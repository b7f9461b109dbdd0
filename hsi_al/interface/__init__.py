"""The Python interface: what `import hsi_al` offers. Nothing is written unless asked, and Hydra takes no part."""
