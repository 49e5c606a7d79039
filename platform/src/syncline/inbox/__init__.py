"""What vendors deliver by themselves: taken in, verified and kept; what follows from it is the runs' business."""
