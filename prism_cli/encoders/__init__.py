"""What looks at a picture: embeddings of images and of texts."""
