"""Does scoring in a lower precision ask for other pixels?"""
