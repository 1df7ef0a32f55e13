import { io } from "socket.io-client"; // 4.6 or later

/** Shows a run's log from its first character on; calls `show` with the whole text whenever it has grown. */
export function followRun(url, token, task, show) {
  const socket = io(url, { auth: { token } });
  let text = "", reached = null, early = [];
  const append = ({ log, offset }) => {
    text += log.slice(Math.max(0, reached - offset)); // what the snapshot had already is left out
    reached = Math.max(reached, offset + log.length);
    show(text);
  };
  socket.on("execution-log", (event) => {
    if (event.taskId === task) reached === null ? early.push(event) : append(event);
  });
  const load = () =>
    fetch(`${url}/api/executions/${task}/logs`, { headers: { authorization: `Bearer ${token}` } })
      .then((answer) => answer.json())
      .then(({ data }) => {
        ({ output: text, length: reached } = data);
        show(text);
        early.forEach(append);
      })
      .catch(() => setTimeout(load, 1000));
  socket.on("auth-success", () => {
    if (socket.recovered && reached !== null) return; // it goes on where it was: nothing is missing
    if (!socket.recovered) [reached, early] = [null, []];
    load();
  });
  return socket;
}
