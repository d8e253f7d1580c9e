"""Official pose metrics: PoseTrack AP, MOTA and HOTA, COCO OKS, PCKh, box tracking."""
