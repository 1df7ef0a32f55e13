import { io } from "socket.io-client"; // 4.6 or later
/** Shows a run's log from its first character on: calls `show` with the whole text whenever it has grown. */
export function followRun(url, token, task, show) {
  const socket = io(url, { auth: { token } }), headers = { authorization: `Bearer ${token}` };
  let text, reached = null, early = [];
  const append = ({ log, offset }) => {
    show((text += log.slice(Math.max(0, reached - offset)))); // what the snapshot had already is left out
    reached = Math.max(reached, offset + log.length);
  };
  socket.on("execution-log", (event) => event.taskId === task && (reached === null ? early.push(event) : append(event)));
  socket.on("auth-success", async function load() {
    if (socket.recovered && reached !== null) return; // it goes on where it was: nothing is missing
    [reached, early] = [null, []];
    const { data } = await fetch(`${url}/api/executions/${task}/logs`, { headers }).then((it) => it.json()).catch(() => ({}));
    if (!data) return setTimeout(load, 1000);
    ({ output: text, length: reached } = data);
    show(text), early.forEach(append);
  });
  return socket;
}
