"""RVC voices (Retrieval-based Voice Conversion, v1 and v2) that users bring along as ONNX files.

    microphone -> 16 kHz -> content encoder (ContentVec or HuBERT, 50 Hz) -> index -> x2 -> 100 Hz -+
                        \\-> F0 (RMVPE, swift-f0, harvest, 100 Hz) -> pitch ------------------------+-> synthesizer
                                                                                                     -> SOLA -> voice

`nets` and `content` bind the networks whatever their exporter called things, `voice` is the stream, `settings` has the
names that RVC's users know. No weights come with OBS Twin.
"""
