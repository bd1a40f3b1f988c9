// 3D replays: drag or arrow keys turn the view, the wheel zooms once it was clicked.
// The uniform k is the scale and whether there is light, and d the data in the page.
for (let root of document.querySelectorAll(".replay")) {
  // In the order of the page.
  let [view, play, bar, clock, start, script] =
    root.querySelectorAll("canvas, button, .time, output, select, script");
  let {min, max, round} = Math, d = JSON.parse(script.textContent), {ghosts, frames, duration} = d,
    boxes = root.querySelectorAll("[type=checkbox]"), gl = view.getContext("webgl2");
  if (!gl) {
    root.textContent = "The replay needs WebGL 2.";
    continue;
  }
  let bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt()).buffer,
    poses = Float32Array.from(new Int16Array(bytes(d.poses)), x => x / 32767),
    made = gl.createProgram();
  [`uniform vec3 eye; uniform vec2 k; uniform mat4x3 pose; in vec3 at; out vec3 w;
    mat2 turn(float a) { return mat2(cos(a), sin(a), -sin(a), cos(a)); }
    void main() {
      vec3 p = w = pose * vec4(at * k.x, 1);
      p.xy *= turn(eye.x);
      p.yz *= turn(-eye.y);
      p.y += eye.z;
      gl_Position = vec4(p.x * 1.7, p.z * 2.72, p.y * 1.01 - eye.z * .1, p.y);
    }`,
   `uniform vec4 hue; uniform vec2 k; in vec3 w; out vec4 ink;
    void main() {
      float lit = .7 + .3 * dot(normalize(cross(dFdx(w), dFdy(w))), vec3(.36, -.48, .8));
      ink = vec4(hue.rgb * (k.y > 0. ? lit : 1.), 1) * hue.a;
    }`].forEach((code, i) => {
    let part = gl.createShader(i ? gl.FRAGMENT_SHADER : gl.VERTEX_SHADER);
    gl.shaderSource(part, "#version 300 es\nprecision highp float;" + code);
    gl.compileShader(part);
    gl.attachShader(made, part);
    let buffer = i ? gl.ELEMENT_ARRAY_BUFFER : gl.ARRAY_BUFFER;
    gl.bindBuffer(buffer, gl.createBuffer());
    gl.bufferData(buffer, bytes(d.buffers[i]), gl.STATIC_DRAW);
  });
  gl.linkProgram(made);
  gl.useProgram(made);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(0, 3, gl.SHORT, 1, 0, 0);
  gl.enable(gl.DEPTH_TEST);
  gl.enable(gl.BLEND);
  gl.polygonOffset(1, 1);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  let where = name => gl.getUniformLocation(made, name),
    set = (name, ...x) => gl[`uniform${x.length}f`](where(name), ...x),
    yaw = .5, pitch = .3, far = d.distance, time = 0, last = 0, playing, seen, linked, at,
    paint = (color, scale, lit, label = 0, joint = 0) => {
    set("hue", ...color);
    set("k", scale, lit);
    let first = min(round(time * d.rate), frames - 1) + frames * (+start.value + d.starts * label);
    gl.uniformMatrix4x3fv(where("pose"), 0, poses, 12 * (joint + d.joints * first), 12);
  }, draw = () => {
    view.width = view.clientWidth * devicePixelRatio;
    view.height = view.width / 1.6;
    gl.viewport(0, 0, view.width, view.height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    set("eye", yaw, pitch, far);
    gl.depthFunc(gl.LEQUAL);
    let goal = d.goals[start.value], mark = opacity => {
      paint([.1, .65, .3, opacity], 1, goal[0] - 3);
      gl.drawArrays(...goal);
    };
    paint([.5, .5, .5, .4], 1, 0);
    gl.drawArrays(gl.LINES, ...d.grid);
    mark(1);
    for (let label of [ghosts.length, ...ghosts.keys()]) {
      let ghost = ghosts[label];
      gl[ghost ? "enable" : "disable"](gl.POLYGON_OFFSET_FILL);
      // A ghost's depth comes first: its far side does not shine through.
      for (let ink of boxes[label].checked ? ghost ? [0, 1] : [1] : []) {
        gl.colorMask(ink, ink, ink, ink);
        for (let [joint, color, first, count] of d.parts) {
          paint(ghost || color, d.scale, 1, label, joint);
          gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_SHORT, 2 * first);
        }
      }
    }
    // A goal shines through what is before it.
    gl.depthFunc(gl.GREATER);
    mark(.4);
  }, go = to => {
    time = bar.value = min(to, duration);
    clock.value = time.toFixed(2) + " s";
    draw();
    if (linked) document.dispatchEvent(new CustomEvent("roboopt:time", {detail: {time, source: root, playing}}));
  }, next = () => requestAnimationFrame(tick), tick = now => {
    if (playing !== true || !seen) return;
    go(time < duration ? time + min(now - last, 99) / 1000 : 0);
    last = now;
    next();
  }, run = (on, user, to = time) => {
    // True by its own clock, 1 by what it hears.
    playing = on;
    linked = user;
    play.textContent = on ? "Pause" : "Play";
    go(to);
    next();
  }, turn = (right, down) => {
    yaw += right / 150;
    pitch = max(-1.5, min(1.5, pitch + down / 150));
    draw();
  };
  view.onpointerdown = e => view.setPointerCapture((at = e).pointerId);
  view.onpointermove = e => {
    if (e.buttons) turn(e.x - at.x, e.y - at.y);
    at = e;
  };
  view.onwheel = e => {
    if (document.activeElement != view && !e.ctrlKey) return;
    e.preventDefault();
    far *= 1.002 ** e.deltaY;
    draw();
  };
  view.onkeydown = e => {
    let step = {Left: [-15, 0], Right: [15, 0], Up: [0, -15], Down: [0, 15]}[e.key.slice(5)];
    if (!step) return;
    e.preventDefault();
    turn(...step);
  };
  play.onclick = () => run(!playing, true);
  bar.oninput = () => run(false, true, +bar.value);
  root.onchange = draw;
  addEventListener("resize", draw);
  // Paper shows the end of what moves.
  addEventListener("beforeprint", () => run(0, 0, playing ? duration : time));
  document.addEventListener("roboopt:time", ({detail}) =>
    detail.source == root || run(+detail.playing, 0, detail.time));
  new IntersectionObserver(([entry]) => {
    seen = entry.isIntersecting;
    next();
  }).observe(view);
  run(!matchMedia("(prefers-reduced-motion: reduce)").matches);
}
