// Time as a picture: a lane a track, those that are in view; zoomed by the wheel or by keys.
import { colourOf, themed } from "./colours.js";
import { paperOf, scaleOf, sizeOf } from "./sizes.js";

const LEAST_FRAMES = 20;
const TICK_PX = 90;

export class Timeline {
  // box scrolls, room is as high as all lanes, and the canvas stays where the box is.
  constructor(box, seek, selectOther) {
    Object.assign(this, { box, room: box.firstElementChild, canvas: box.querySelector("canvas"), first: 0, end: 0, base: document.createElement("canvas") });
    const { canvas } = this;
    const go = (event) => {
      if (!this.clip || !(event.buttons & 1)) return;
      const lane = this.lanes[Math.floor((event.offsetY - this.head + box.scrollTop) / this.lane)];
      const isLane = event.type === "pointerdown" && event.offsetY > this.head;
      if (event.shiftKey && isLane && lane) selectOther(lane.id);
      if (event.shiftKey) return;
      const place = Math.min(Math.max(Math.floor(this.placeAt(event.offsetX)), 0), this.clip.numbers.length - 1);
      seek(event.offsetX < this.names && lane ? Math.max(place, this.clip.placeOf.get(lane.present[0][0])) : place, isLane ? lane?.id : undefined);
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); go(event); });
    canvas.addEventListener("pointermove", go);
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    box.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(box);
  }

  get count() { return this.clip.numbers.length; }

  // Looks up once what costs a layout of the page each time.
  measure() {
    const unit = scaleOf();
    Object.assign(this, { unit, names: 58 * unit, head: 30 * unit, lane: 16 * unit, high: this.box.clientHeight });
    this.width = sizeOf(this.canvas)[0] - this.names;
  }

  placeAt(x) { return this.first + ((x - this.names) / this.width) * (this.end - this.first); }
  xOf(place) { return this.names + ((place - this.first) / (this.end - this.first)) * this.width; }

  wheel(event) {
    if (!this.clip || event.offsetX < this.names) return; // there it scrolls
    event.preventDefault();
    const sideways = event.shiftKey ? event.deltaY : event.deltaX;
    if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) this.look(this.first + ((this.end - this.first) * sideways) / this.width, this.end - this.first);
    else this.zoom(Math.exp(-event.deltaY / 300), this.placeAt(event.offsetX));
  }

  // Zooms by a factor around a place, the one that is shown where none is given; 0 is all of the clip.
  zoom(factor, at = this.state.place + 0.5) {
    const span = factor ? Math.max((this.end - this.first) / factor, Math.min(LEAST_FRAMES, this.count)) : this.count;
    this.look(at - ((at - this.first) * span) / (this.end - this.first), span);
  }

  look(first, span) {
    span = Math.min(span, this.count);
    this.first = Math.min(Math.max(first, 0), this.count - span);
    this.end = this.first + span;
    this.draw();
  }

  show(clip, state) {
    const isNew = this.clip !== clip;
    const isOther = isNew || this.track !== state.track;
    Object.assign(this, { clip, state, track: state.track });
    if (isNew) Object.assign(this, { first: 0, end: this.count });
    const span = this.end - this.first;
    if (state.place < this.first || state.place + 1 > this.end) this.look(state.place - span / 2, span);
    else this.draw();
    const row = this.lanes.findIndex(({ id }) => id === state.track);
    const [top, room] = [row * this.lane, this.box.clientHeight - this.head];
    if (isOther && row >= 0 && (top < this.box.scrollTop || top + this.lane > this.box.scrollTop + room)) this.box.scrollTop = top - room / 2;
  }

  draw() {
    const { canvas, clip, state, box } = this;
    if (!clip || !box.clientHeight) return;
    this.measure();
    this.shown = [clip.numbers[Math.floor(this.first)], clip.numbers[Math.min(Math.ceil(this.end), this.count) - 1]];
    this.lanes = this.end - this.first === this.count ? clip.lanes : clip.lanes.filter(({ present }) => present.some((run) => this.isShown(run)));
    this.room.style.height = `${Math.max(this.head + this.lane * this.lanes.length, this.high)}px`;
    canvas.style.height = `${this.high}px`;
    this.top = box.scrollTop;
    const looks = [clip.number, clip.revision, clip.found, this.first, this.end, this.top, this.width, this.high, devicePixelRatio,
      state.track, state.other, state.range, themed("--back")].join();
    if (looks !== this.looks) {
      this.looks = looks;
      const paper = paperOf(canvas);
      this.drawLanes(paper);
      this.drawHead(paper);
      this.base.width = canvas.width;
      this.base.height = canvas.height;
      this.base.getContext("2d").drawImage(canvas, 0, 0);
    }
    const paper = paperOf(canvas);
    paper.drawImage(this.base, 0, 0, this.names + this.width, this.high);
    const x = this.xOf(state.place + 0.5);
    paper.fillStyle = themed("--text");
    if (x >= this.names) paper.fillRect(x - 1, 0, 2, this.high);
    canvas.setAttribute("aria-valuemin", clip.numbers[0]);
    canvas.setAttribute("aria-valuemax", clip.numbers.at(-1));
    canvas.setAttribute("aria-valuenow", clip.numbers[state.place]);
  }

  isShown([first, last]) { return first <= this.shown[1] && last >= this.shown[0]; }

  // Where a run of frames is, as far as it is in view.
  spanOf([first, last]) {
    const { names, width, clip } = this;
    return [Math.max(this.xOf(clip.placeOf.get(first)), names), Math.min(this.xOf(clip.placeOf.get(last) + 1), names + width)];
  }

  bar(paper, runs, top, tall) {
    for (const run of runs) {
      if (!this.isShown(run)) continue;
      const [a, b] = this.spanOf(run);
      paper.fillRect(a, top, Math.max(b - a, 1.5), tall);
    }
  }

  drawHead(paper) {
    const { clip, state, head, names, width, unit } = this;
    paper.fillStyle = themed("--panel");
    paper.fillRect(0, 0, names + width, head);
    paper.fillStyle = themed("--line"); // where in the clip the view is
    paper.fillRect(names, 0, width, 3 * unit);
    paper.fillStyle = themed("--accent");
    paper.fillRect(names + (this.first / this.count) * width, 0, Math.max(((this.end - this.first) / this.count) * width, 3), 3 * unit);
    paper.font = `${11 * unit}px system-ui, sans-serif`;
    paper.fillStyle = themed("--faint");
    paper.fillText("reviewed", 4 * unit, head - 3 * unit);
    const least = ((this.end - this.first) * TICK_PX * unit) / width;
    const power = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= least) ?? 10 * power;
    for (let number = Math.ceil(clip.numbers[Math.floor(this.first)] / step) * step; number <= clip.numbers.at(-1); number += step) {
      if (!clip.placeOf.has(number)) continue;
      const x = this.xOf(clip.placeOf.get(number) + 0.5);
      if (x > names + width - 30 * unit) break;
      paper.fillRect(x, 3 * unit, 1, head - 13 * unit);
      paper.fillText(String(number), x + 3 * unit, 14 * unit);
    }
    paper.fillStyle = themed("--line");
    paper.fillRect(names, head - 10 * unit, width, 7 * unit);
    paper.fillStyle = themed("--good");
    this.bar(paper, clip.reviewed, head - 10 * unit, 7 * unit);
    if (state.range) {
      paper.fillStyle = themed("--accent");
      this.bar(paper, [state.range.map((place) => clip.numbers[place])], head - 3 * unit, 3 * unit);
    }
  }

  drawLanes(paper) {
    const { clip, state, head, lane: tall, names, width, unit } = this;
    const visible = this.lanes.map((lane, row) => [lane, head + row * tall - this.top]).filter(([, top]) => top > head - tall && top < this.high);
    if (state.range) {
      paper.fillStyle = `${themed("--accent")}33`;
      this.bar(paper, [state.range.map((place) => clip.numbers[place])], 0, this.high);
    }
    paper.font = `${11 * unit}px system-ui, sans-serif`;
    for (const [lane, top] of visible) {
      if (lane.id === state.track || lane.id === state.other) {
        paper.fillStyle = `${themed("--accent")}${lane.id === state.track ? "33" : "18"}`;
        paper.fillRect(0, top, names + width, tall);
      }
      paper.fillStyle = themed("--text");
      paper.fillText(`${lane.id}${clip.right?.includes(lane.id) ? " ✓" : ""}`, 4 * unit, top + 12 * unit);
      paper.fillStyle = colourOf(lane.id);
      paper.globalAlpha = 0.3;
      this.bar(paper, lane.present, top + 2 * unit, tall - 5 * unit);
      paper.globalAlpha = 0.75;
      this.drawScores(paper, lane, top, tall, unit);
      paper.globalAlpha = 1;
      paper.fillStyle = themed("--faint");
      this.bar(paper, lane.present, top + tall - 3 * unit, 1);
      paper.fillStyle = themed("--spread");
      this.bar(paper, lane.spread, top + tall - 3 * unit, 2 * unit);
      paper.fillStyle = themed("--text");
      this.bar(paper, lane.corrected, top + tall - 3 * unit, 3 * unit);
    }
    const tops = new Map(visible.map(([lane, top]) => [lane.id, top]));
    paper.fillStyle = themed("--bad");
    for (const suspect of clip.suspects) {
      if (!this.isShown([suspect.at, suspect.at])) continue;
      const at = this.xOf(clip.placeOf.get(suspect.at) + 0.5);
      if (at < names || at > names + width) continue;
      paper.globalAlpha = 0.2 + 0.8 * suspect.severity;
      for (const track of suspect.tracks) {
        const top = tops.get(track);
        if (top === undefined) continue;
        paper.beginPath();
        paper.moveTo(at - 4 * unit, top);
        paper.lineTo(at + 4 * unit, top);
        paper.lineTo(at, top + 7 * unit);
        paper.fill();
      }
    }
    paper.globalAlpha = 1;
  }

  drawScores(paper, lane, top, tall, unit) {
    const { clip } = this;
    const size = this.count / lane.bins.length;
    for (const run of lane.present) { // a bin may be wider than the track is there
      if (!this.isShown(run)) continue;
      const [from, to] = this.spanOf(run);
      const [begin, end] = [Math.max(clip.placeOf.get(run[0]), this.first), Math.min(clip.placeOf.get(run[1]) + 1, this.end)];
      for (let bin = Math.floor(begin / size); bin * size < end && bin < lane.bins.length; bin++) {
        if (lane.bins[bin] <= 0) continue;
        const high = ((tall - 5 * unit) * lane.bins[bin]) / 100;
        const [a, b] = [Math.max(from, this.xOf(bin * size)), Math.min(to, this.xOf((bin + 1) * size))];
        if (b > a) paper.fillRect(a, top + tall - 3 * unit - high, b - a + 0.3, high);
      }
    }
  }
}
