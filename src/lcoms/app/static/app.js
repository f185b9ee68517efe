// Polls the progress of the prediction, and shows its page when it has ended.
"use strict";

const run = document.getElementById("run");
const status = document.getElementById("status");
const bar = run.querySelector("progress");

async function ask() {
  try {
    const answer = await (await fetch(run.dataset.progress)).json();
    if (answer.ended) return location.reload();
    if (status.textContent !== answer.progress) status.textContent = answer.progress;
    bar.value = answer.fraction;
  } catch (error) {
    status.textContent = "lcoms does not answer; is it still running in its terminal?";
  }
  setTimeout(ask, 700);
}
ask();
