// Fill every place that the page has with what its data say.

const data = JSON.parse(document.getElementById("data").textContent);
const place = (id) => document.getElementById(id);

if (place("forest")) drawForest(place("forest"), data.forest);
if (place("cost")) drawCost(place("cost"), data.planes, data.costs);
if (place("training")) drawTraining(place("training"), data.training);
data.held_out.forEach((suite, index) => exploreHeldOut(place(`held-out-${index}`), suite));
if (place("training-samples")) {
  const explorer = exploreTraining(place("training-samples"), data.training_samples);
  drawDifficulty(place("difficulty"), data.training_samples, explorer.showOne);
}
