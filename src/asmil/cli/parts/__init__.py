"""What commands share: options made from the settings, and findings in lines."""
