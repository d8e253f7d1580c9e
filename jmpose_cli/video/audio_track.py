"""Carries the sound of a source video into an overlay, in step with its pictures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jmpose_cli.video.av_library import pyav
from jmpose_cli.video.container import open_container

# What players expect to find in an mp4; all else is encoded again, as AAC.
COPIED_CODECS = frozenset({"aac", "ac3", "alac", "eac3", "mp3", "opus"})

_AAC_RATE = 48000
_AAC_FRAME = 1024
# A decoder needs the packet before the first one heard; the edit list of the mp4 keeps it silent.
_LEAD_S = 0.05
# A longer gap in the sound stays one; shorter ones are filled with silence, which is held in memory.
_LONGEST_SILENCE_S = 30.0


class AudioTrack:
    """The best audio stream of a video file, of the pictures' own programme, as a stream of an output container.

    The sound plays from the start of the first picture written, which is second 0 of the output, to the end of the
    last. Sound that cannot be read is left out, with a remark; it is not worth losing the pictures.

    Args:
        source: The video file whose sound is taken.
        pictures: Index of the stream of pictures in it.
        output: The container written to, an `av.container.OutputContainer` whose header is not yet written.

    Attributes:
        remarks: Sentences for the user, complete after closing.

    Raises:
        JmposeError: If the source cannot be opened.
    """

    def __init__(self, source: Path, pictures: int, output: Any) -> None:
        self.remarks: list[str] = []
        self._output = output
        self._input = open_container(source)
        self._stream = self._input.streams.best("audio", self._input.streams[pictures])
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None
        self._track: Any = None
        self._is_copied = False
        codec_context = getattr(self._stream, "codec_context", None)
        if codec_context is None:
            self.remarks.append("the sound is left out: there is no decoder for it")
            return
        # AAC without a header comes from broadcast streams; each of its packets has one, which mp4 does not allow.
        is_bare = codec_context.codec.canonical_name == "aac" and not codec_context.extradata
        self._is_copied = codec_context.codec.canonical_name in COPIED_CODECS and not is_bare
        if self._is_copied:
            self._track = output.add_stream_from_template(self._stream)
        else:
            layout = "mono" if self._stream.channels == 1 else "stereo"
            self._track = output.add_stream("aac", rate=_AAC_RATE, layout=layout)

    def start(self, begin_s: float) -> None:
        """Go to the sound at `begin_s` on the source's clock, which becomes second 0."""
        if self._track is not None:
            self._packets = self._copied(begin_s) if self._is_copied else self._encoded(begin_s)
            self._next = self._read()

    def advance(self, until_s: float) -> None:
        """Write the sound before `until_s` seconds of the output.

        Raises:
            av.error.FFmpegError: If writing fails.
        """
        while self._next is not None and self._next.pts * self._next.time_base < until_s:
            self._output.mux(self._next)
            self._next = self._read()

    def close(self) -> None:
        """Close the source."""
        self._input.close()

    def _read(self) -> Any:
        """Return the next packet for the output; None when there are no more."""
        try:
            return next(self._packets, None)
        except pyav().error.FFmpegError as error:
            self.remarks.append(f"the sound ends early, it cannot be read further: {error.strerror}")
            return None

    def _copied(self, begin_s: float) -> Iterator[Any]:
        """Yield the source's packets on the output's clock, from the one before `begin_s` on."""
        for packet in self._source_packets(begin_s):
            if (packet.pts + (packet.duration or 0)) * packet.time_base < begin_s:
                continue
            packet.pts -= round(begin_s / packet.time_base)
            packet.dts = packet.pts  # no audio codec stores packets out of order
            packet.stream = self._track
            yield packet

    def _encoded(self, begin_s: float) -> Iterator[Any]:
        """Yield AAC packets of the source's sound from `begin_s` on."""
        graph: Any = None
        reached_s = begin_s
        for frame in self._source_frames(begin_s):
            time_s = float(frame.pts * frame.time_base)
            is_late = time_s - reached_s > _LONGEST_SILENCE_S
            if is_late and graph is not None:
                yield from self._end_graph(graph)
            if is_late or graph is None:
                graph = self._clock_graph(begin_s, from_start=not is_late)
            reached_s = max(reached_s, time_s + frame.samples / frame.sample_rate)
            graph.push(frame)
            for ready in _pull_all(graph):
                yield from self._track.encode(ready)
        if graph is not None:
            yield from self._end_graph(graph, is_last=True)
        yield from self._track.encode(None)

    def _end_graph(self, graph: Any, *, is_last: bool = False) -> Iterator[Any]:
        """Yield AAC packets of what a graph still holds; only the very last one may be short."""
        graph.push(None)
        for ready in _pull_all(graph):
            if is_last or ready.samples == _AAC_FRAME:
                yield from self._track.encode(ready)

    def _clock_graph(self, begin_s: float, *, from_start: bool) -> Any:
        """Return a filter that puts decoded sound on the output's clock, gaps filled with silence, for the encoder.

        Args:
            begin_s: What becomes second 0, on the source's clock.
            from_start: The sound begins at second 0, with silence if need be; else with the first sound given.
        """
        padded = ":first_pts=0" if from_start else ""
        graph = pyav().filter.Graph()
        graph.link_nodes(
            graph.add_abuffer(template=self._stream),
            graph.add("atrim", f"start={begin_s:.6f}"),
            graph.add("asetpts", f"PTS-{begin_s:.6f}/TB"),
            graph.add("aresample", f"{_AAC_RATE}:async=1{padded}"),
            graph.add("aformat", f"sample_fmts=fltp:channel_layouts={self._track.layout.name}"),
            graph.add("abuffersink"),
        ).configure()
        graph.set_audio_frame_size(_AAC_FRAME)
        return graph

    def _source_frames(self, begin_s: float) -> Iterator[Any]:
        error_type = pyav().error.FFmpegError
        damaged = 0
        for packet in self._source_packets(begin_s):
            try:
                frames = packet.decode()
            except error_type:
                damaged += 1
                continue
            yield from (frame for frame in frames if frame.pts is not None)
        if damaged:
            self.remarks.append(f"damaged packets of sound that are left out: {damaged}")

    def _source_packets(self, begin_s: float) -> Iterator[Any]:
        """Yield packets from shortly before `begin_s` or earlier."""
        try:
            self._input.seek(int((begin_s - _LEAD_S) / self._stream.time_base), stream=self._stream)
        except pyav().error.FFmpegError:
            self._input.seek(0)
        for packet in self._input.demux(self._stream):
            if packet.pts is not None:
                yield packet


def _pull_all(graph: Any) -> Iterator[Any]:
    """Yield the frames that a filter graph has ready."""
    av = pyav()
    while True:
        try:
            yield graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
