"""DeepFaceLab models (`.dfm`): reading them, aligning faces for them, and drawing what they make."""
