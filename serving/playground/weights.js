// The sliders: a weight of the policy each, and the lines that say the same in a policy file.
// Leaves out what the weights do to the list (policy.js, script.js).

import { byId, element } from "./elements.js";
import { plain } from "./list.js";

const USUAL_MOST = 100; // points, unless the policy has more

/**
 * Show weights, and their lines where they are not the policy's.
 *
 * @param {Object<string, number>} weights intent → points at probability 1
 * @param {Object<string, number>} usual those of the policy
 * @param {(intent: string, weight: number) => void} moves called while a slider moves
 * @param {() => void} moved called when it has come to rest
 */
export function showWeights(weights, usual, moves, moved) {
  const holder = byId("weights");
  if (!holder.children.length) holder.append(...Object.keys(usual).map((intent) => slider(intent, moves, moved)));
  for (const [intent, weight] of Object.entries(weights)) {
    const input = byId(`weight-${intent}`);
    input.max = Math.max(USUAL_MOST, ...Object.values(usual));
    input.value = weight;
    input.setAttribute("aria-valuetext", `${weight} points`);
    input.previousSibling.textContent = weight;
  }
  byId("policy").hidden = false;
  byId("changed").hidden = asToml(weights) === asToml(usual);
  byId("toml").value = asToml(weights);
}

function slider(intent, moves, moved) {
  const id = `weight-${intent}`;
  // Any step, so that a policy's 7.25 stays that until it is moved; what it is moved to is whole.
  const input = element("input", { type: "range", id, min: "0", step: "any" });
  input.addEventListener("input", () => moves(intent, Math.round(input.valueAsNumber)));
  input.addEventListener("change", moved);
  const label = element("label", { for: id }, plain(intent));
  return element(`div.weight.${intent}`, null, label, element("output", { for: id }), input);
}

/** The `[weights]` table of a policy file. */
function asToml(weights) {
  return ["[weights]", ...Object.entries(weights).map(([intent, weight]) => `${intent} = ${weight}`), ""].join("\n");
}
