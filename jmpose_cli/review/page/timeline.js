// Time as pictures: a lane a track, and the lines of a joint.
import { colourOf, themed } from "./colours.js";

const LANE_PX = 16;
const HEAD_PX = 14;
const NAME_PX = 58;
const AROUND = 60;

function paperOf(canvas, height) {
  const ratio = window.devicePixelRatio;
  if (height) canvas.style.height = `${height}px`;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  const paper = canvas.getContext("2d");
  paper.setTransform(ratio, 0, 0, ratio, 0, 0);
  return paper;
}

export class Timeline {
  constructor(canvas, seek) {
    this.canvas = canvas;
    const go = (event) => {
      if (!this.clip || !(event.buttons & 1)) return;
      const share = (event.offsetX - NAME_PX) / (canvas.clientWidth - NAME_PX);
      const count = this.clip.numbers.length;
      const lane = this.clip.lanes[Math.floor((event.offsetY - HEAD_PX) / LANE_PX)];
      const place = Math.min(Math.max(Math.floor(share * count), 0), count - 1);
      seek(place, event.type === "pointerdown" ? lane?.id : undefined);
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); go(event); });
    canvas.addEventListener("pointermove", go);
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement);
  }

  show(clip, state) {
    const isOther = this.track !== state.track;
    Object.assign(this, { clip, state, track: state.track });
    this.draw();
    const row = clip.lanes.findIndex(({ id }) => id === state.track);
    const box = this.canvas.parentElement;
    const [top, end] = [HEAD_PX + row * LANE_PX, HEAD_PX + (row + 1) * LANE_PX];
    if (isOther && row >= 0 && (top < box.scrollTop || end > box.scrollTop + box.clientHeight)) {
      box.scrollTop = top - box.clientHeight / 2;
    }
  }

  draw() {
    const { canvas, clip, state } = this;
    if (!clip) return;
    const height = Math.max(HEAD_PX + LANE_PX * clip.lanes.length, canvas.parentElement.clientHeight);
    const paper = paperOf(canvas, height);
    const count = clip.numbers.length;
    const width = canvas.clientWidth - NAME_PX;
    const x = (place) => NAME_PX + (place / count) * width;
    const bar = (runs, top, tall) => {
      for (const [first, last] of runs) {
        const [a, b] = [x(clip.placeOf.get(first)), x(clip.placeOf.get(last) + 1)];
        paper.fillRect(a, top, Math.max(b - a, 1.5), tall);
      }
    };
    paper.font = "11px system-ui, sans-serif";
    paper.fillStyle = themed("--faint");
    paper.fillText("reviewed", 4, 10);
    paper.fillStyle = themed("--good");
    bar(clip.reviewed, 3, 7);
    if (state.range) {
      paper.fillStyle = `${themed("--accent")}44`;
      paper.fillRect(x(state.range[0]), 0, x(state.range[1] + 1) - x(state.range[0]), height);
    }
    clip.lanes.forEach((lane, row) => {
      const top = HEAD_PX + row * LANE_PX;
      if (lane.id === state.track) {
        paper.fillStyle = `${themed("--accent")}33`;
        paper.fillRect(0, top, canvas.clientWidth, LANE_PX);
      }
      paper.fillStyle = themed("--text");
      paper.fillText(String(lane.id), 4, top + 12);
      paper.fillStyle = colourOf(lane.id);
      paper.globalAlpha = 0.3;
      bar(lane.present, top + 2, LANE_PX - 5);
      const step = width / lane.bins.length;
      paper.globalAlpha = 0.75;
      lane.bins.forEach((score, bin) => {
        const tall = ((LANE_PX - 5) * score) / 100;
        if (score > 0) paper.fillRect(NAME_PX + bin * step, top + LANE_PX - 3 - tall, step + 0.3, tall);
      });
      paper.globalAlpha = 1;
      paper.fillStyle = themed("--faint");
      bar(lane.spread, top + LANE_PX - 3, 2);
      paper.fillStyle = themed("--text");
      bar(lane.corrected, top + LANE_PX - 3, 3);
    });
    const rows = new Map(clip.lanes.map((lane, row) => [lane.id, row]));
    for (const suspect of clip.suspects) {
      for (const track of suspect.tracks) {
        const [at, top] = [x(clip.placeOf.get(suspect.at) + 0.5), HEAD_PX + (rows.get(track) ?? -9) * LANE_PX];
        paper.fillStyle = themed("--bad");
        paper.globalAlpha = 0.2 + 0.8 * suspect.severity;
        paper.beginPath();
        paper.moveTo(at - 4, top);
        paper.lineTo(at + 4, top);
        paper.lineTo(at, top + 7);
        paper.fill();
      }
    }
    paper.globalAlpha = 1;
    paper.fillStyle = themed("--text");
    paper.fillRect(x(state.place + 0.5) - 1, 0, 2, height);
    canvas.setAttribute("aria-valuemin", clip.numbers[0]);
    canvas.setAttribute("aria-valuemax", clip.numbers.at(-1));
    canvas.setAttribute("aria-valuenow", clip.numbers[state.place]);
  }
}

// Draws x, y and score of a joint in the frames around.
export function drawPlot(canvas, clip, state) {
  const paper = paperOf(canvas);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  paper.font = "11px system-ui, sans-serif";
  paper.fillStyle = themed("--faint");
  if (state.track == null || state.joint == null) {
    paper.fillText("Select a joint to see its x, y and score here.", 8, 18);
    return;
  }
  const [first, last] = [Math.max(state.place - AROUND, 0), Math.min(state.place + AROUND, clip.numbers.length - 1)];
  const found = [];
  for (let place = first; place <= last; place++) {
    const person = clip.poses(place)?.people.find(({ id }) => id === state.track);
    if (person?.v[state.joint]) found.push([place, ...person.xy[state.joint], person.s[state.joint], person.src[state.joint]]);
  }
  const x = (place) => 44 + ((place - state.place + AROUND) / (2 * AROUND)) * (width - 52);
  const part = (height - 18) / 3;
  paper.fillText(`${clip.joints[state.joint].replaceAll("_", " ")} of ${state.track}, frames ±${AROUND}`, 8, 12);
  ["x", "y", "score"].forEach((name, line) => {
    const values = found.map((one) => one[line + 1]);
    let [low, high] = line === 2 ? [0, 1] : [Math.min(...values), Math.max(...values)];
    if (high - low < 10 && line < 2) [low, high] = [(low + high) / 2 - 5, (low + high) / 2 + 5];
    const [top, y] = [16 + line * part, (value) => 16 + (line + 1) * part - 3 - ((value - low) / (high - low)) * (part - 6)];
    paper.strokeStyle = paper.fillStyle = [themed("--accent"), themed("--mark"), themed("--good")][line];
    paper.lineWidth = 1.5;
    paper.beginPath();
    found.forEach(([place, ...rest], i) => {
      if (i && found[i - 1][0] === place - 1) paper.lineTo(x(place), y(rest[line]));
      else paper.moveTo(x(place), y(rest[line]));
    });
    paper.stroke();
    for (const one of found) if (one[4] === 1) paper.fillRect(x(one[0]) - 2, y(one[line + 1]) - 2, 4, 4);
    paper.fillText(name, 8, top + part / 2 + 4);
  });
  paper.fillStyle = themed("--text");
  paper.fillRect(x(state.place) - 0.5, 14, 1, height - 14);
}
