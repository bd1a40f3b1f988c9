// 3D replays: drag or arrow keys turn the view, the wheel zooms once it was clicked.
for (const root of document.querySelectorAll(".replay")) {
  const [script, canvas, play, slider, clock, start] =
    ["script", "canvas", "button", ".time", "output", "select"].map(what => root.querySelector(what));
  const data = JSON.parse(script.textContent), {ghosts, frames, duration} = data;
  const boxes = root.querySelectorAll("[type=checkbox]"), gl = canvas.getContext("webgl2");
  if (!gl) {
    root.textContent = "The 3D replay needs a browser with WebGL 2.";
    continue;
  }
  const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt()).buffer;
  const poses = Float32Array.from(new Int16Array(bytes(data.poses)), x => x / 32767);
  const program = gl.createProgram();
  [`uniform vec3 eye; uniform vec2 kind; uniform mat4x3 pose; in vec3 place; out vec3 world;
    mat2 turn(float a) { return mat2(cos(a), sin(a), -sin(a), cos(a)); }
    void main() {
      vec3 p = world = pose * vec4(place * kind.x, 1);
      p.xy *= turn(eye.x);
      p.yz *= turn(-eye.y);
      p.y += eye.z;
      gl_Position = vec4(p.x * 1.7, p.z * 2.72, p.y * 1.01 - eye.z * .1, p.y);
      gl_PointSize = 12.;
    }`,
   `uniform vec4 color; uniform vec2 kind; in vec3 world; out vec4 ink;
    void main() {
      vec3 normal = normalize(cross(dFdx(world), dFdy(world)));
      float light = kind.y > 0. ? .7 + .3 * dot(normal, vec3(.36, -.48, .8)) : 1.;
      ink = vec4(color.rgb * light, 1) * color.a;
    }`].forEach((code, i) => {
    const shader = gl.createShader(i ? gl.FRAGMENT_SHADER : gl.VERTEX_SHADER);
    gl.shaderSource(shader, "#version 300 es\nprecision highp float;" + code);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    const buffer = i ? gl.ELEMENT_ARRAY_BUFFER : gl.ARRAY_BUFFER;
    gl.bindBuffer(buffer, gl.createBuffer());
    gl.bufferData(buffer, bytes(data.buffers[i]), gl.STATIC_DRAW);
  });
  gl.linkProgram(program);
  gl.useProgram(program);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(0, 3, gl.SHORT, true, 0, 0);
  gl.enable(gl.DEPTH_TEST);
  gl.enable(gl.BLEND);
  gl.depthFunc(gl.LEQUAL);
  gl.polygonOffset(1, 1);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  const where = name => gl.getUniformLocation(program, name);
  const set = (name, ...x) => gl[`uniform${x.length}f`](where(name), ...x);

  let yaw = .5, pitch = .3, distance = data.distance, time = 0, playing, seen, linked, last, at;
  const paint = (color, scale, lit, label = 0, joint = 0) => {
    set("color", ...color);
    set("kind", scale, lit);
    const frame = Math.min(Math.round(time * data.rate), frames - 1);
    const first = frame + frames * (+start.value + data.starts * label);
    gl.uniformMatrix4x3fv(where("pose"), false, poses, 12 * (joint + data.joints * first), 12);
  };
  const draw = () => {
    canvas.width = canvas.clientWidth * devicePixelRatio;
    canvas.height = canvas.width / 1.6;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    set("eye", yaw, pitch, distance);
    const marks = data.goals[start.value];
    paint([.5, .5, .5, .4], 1, 0);
    gl.drawArrays(gl.LINES, ...data.grid);
    paint([.1, .65, .3, 1], 1, 0);
    gl.drawArrays(marks[1] > 1 ? gl.LINE_STRIP : gl.POINTS, ...marks);
    for (const label of [ghosts.length, ...ghosts.keys()]) {
      const ghost = ghosts[label];
      gl[ghost ? "enable" : "disable"](gl.POLYGON_OFFSET_FILL);
      // A ghost's depth comes first: its far side does not shine through.
      for (const ink of boxes[label].checked ? ghost ? [0, 1] : [1] : []) {
        gl.colorMask(ink, ink, ink, ink);
        for (const [joint, color, first, count] of data.parts) {
          paint(ghost || color, data.scale, 1, label, joint);
          gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_SHORT, 2 * first);
        }
      }
    }
  };
  const go = to => {
    time = slider.value = Math.min(to, duration);
    clock.value = time.toFixed(2) + " s";
    draw();
    if (linked) document.dispatchEvent(new CustomEvent("roboopt:time", {detail: {time, source: root}}));
  };
  const tick = now => {
    if (!playing || !seen) return;
    go(time < duration ? time + Math.min(now - last, 99) / 1000 || 0 : 0);
    last = now;
    requestAnimationFrame(tick);
  };
  const run = (on, user) => {
    playing = on;
    linked = user;
    play.textContent = on ? "Pause" : "Play";
    requestAnimationFrame(tick);
  };
  const turn = (right, down) => {
    yaw += right / 150;
    pitch = Math.max(-1.5, Math.min(1.5, pitch + down / 150));
    draw();
  };
  canvas.onpointerdown = e => canvas.setPointerCapture((at = e).pointerId);
  canvas.onpointermove = e => {
    if (e.buttons) turn(e.x - at.x, e.y - at.y);
    at = e;
  };
  canvas.onwheel = e => {
    if (document.activeElement != canvas && !e.ctrlKey) return;
    e.preventDefault();
    distance *= Math.exp(e.deltaY / 500);
    draw();
  };
  canvas.onkeydown = e => {
    const step = {Left: [-15, 0], Right: [15, 0], Up: [0, -15], Down: [0, 15]}[e.key.slice(5)];
    if (!step) return;
    e.preventDefault();
    turn(...step);
  };
  play.onclick = () => run(!playing, true);
  slider.oninput = () => {
    run(false, true);
    go(+slider.value);
  };
  root.onchange = draw;
  addEventListener("resize", draw);
  document.addEventListener("roboopt:time", ({detail}) => {
    if (detail.source == root) return;
    run(false);
    go(detail.time);
  });
  new IntersectionObserver(([entry]) => {
    seen = entry.isIntersecting;
    requestAnimationFrame(tick);
  }).observe(canvas);
  go(0);
  run(!matchMedia("(prefers-reduced-motion: reduce)").matches);
}
