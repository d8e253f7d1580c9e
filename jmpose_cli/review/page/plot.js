// The lines of a joint over time: x, y and score in the frames around; a click goes there, the wheel shows more or less.
import { themed } from "./colours.js";
import { paperOf, scaleOf, sizeOf } from "./sizes.js";

const [LEAST, MOST] = [10, 600];

export class Plot {
  constructor(canvas, seek) {
    Object.assign(this, { canvas, around: 60 });
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.clip) return;
      const share = (event.offsetX - this.left) / (sizeOf(canvas)[0] - this.left - 8);
      seek(Math.round(this.state.place - this.around + share * 2 * this.around));
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.around = Math.round(Math.min(Math.max(this.around * Math.exp(event.deltaY / 400), LEAST), MOST));
      if (this.clip) this.show(this.clip, this.state);
    }, { passive: false });
    new ResizeObserver(() => this.clip && this.show(this.clip, this.state)).observe(canvas);
  }

  get left() { return 44 * scaleOf(); }

  show(clip, state) {
    Object.assign(this, { clip, state });
    const { canvas, around, left } = this;
    const paper = paperOf(canvas);
    const unit = scaleOf();
    const [width, height] = sizeOf(canvas);
    paper.font = `${11 * unit}px system-ui, sans-serif`;
    paper.fillStyle = themed("--faint");
    if (state.track == null || state.joint == null) {
      paper.fillText("Select a joint to see its x, y and score.", 8 * unit, 18 * unit);
      canvas.setAttribute("aria-label", "x, y and score of the selected joint over time: none is selected");
      return;
    }
    const [first, last] = [Math.max(state.place - around, 0), Math.min(state.place + around, clip.numbers.length - 1)];
    const found = [];
    for (let place = first; place <= last; place++) {
      const person = clip.poses(place)?.people.find(({ id }) => id === state.track);
      if (person?.v[state.joint]) found.push([place, ...person.xy[state.joint], person.s[state.joint], person.src[state.joint]]);
    }
    const x = (place) => left + ((place - state.place + around) / (2 * around)) * (width - left - 8);
    const top = 16 * unit;
    const part = (height - top - 2) / 3;
    const title = `${clip.joints[state.joint].replaceAll("_", " ")} of ${state.track}, frames ±${around}`;
    paper.fillText(title, 8 * unit, 12 * unit);
    canvas.setAttribute("aria-label", `x, y and score of ${title}`);
    ["x", "y", "score"].forEach((name, line) => {
      const values = found.map((one) => one[line + 1]);
      let [low, high] = line === 2 ? [0, 1] : [Math.min(...values), Math.max(...values)];
      if (high - low < 10 && line < 2) [low, high] = [(low + high) / 2 - 5, (low + high) / 2 + 5];
      const y = (value) => top + (line + 1) * part - 3 - ((value - low) / (high - low)) * (part - 6);
      paper.fillStyle = themed("--line");
      paper.fillRect(left, top + (line + 1) * part - 1, width - left - 8, 1);
      paper.strokeStyle = paper.fillStyle = [themed("--accent"), themed("--mark"), themed("--good")][line];
      paper.lineWidth = 1.5 * unit;
      paper.beginPath();
      found.forEach(([place, ...rest], i) => {
        if (i && found[i - 1][0] === place - 1) paper.lineTo(x(place), y(rest[line]));
        else paper.moveTo(x(place), y(rest[line]));
      });
      paper.stroke();
      for (const [place, ...rest] of found) {
        const at = [x(place), y(rest[line])];
        if (rest[3] === 1) paper.fillRect(at[0] - 2.5 * unit, at[1] - 2.5 * unit, 5 * unit, 5 * unit);
        else if (rest[3] > 1 && around < 200) paper.fillRect(at[0] - unit, at[1] - unit, 2 * unit, 2 * unit);
      }
      paper.fillText(name, 8 * unit, top + line * part + part / 2 + 4);
    });
    paper.fillStyle = themed("--text");
    paper.fillRect(x(state.place) - 0.5, 14 * unit, 1, height - 14 * unit);
  }
}
