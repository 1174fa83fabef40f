"""FedAvg + fine-tuning: each client trains a stored global model on, for itself."""
