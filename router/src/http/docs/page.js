// The page's own part: Swagger UI without its bar, on the description of this very router.

// Swagger UI fills a form with every example, and a request would carry all of them: what may be left out is told in words.
function forForms(description) {
  const operations = Object.values(description.paths).flatMap((path) => Object.values(path));
  for (const operation of operations) {
    // A summary is shown as it is, without its marks of code taken for such.
    operation.summary = operation.summary?.replaceAll("`", "");
    for (const parameter of operation.parameters ?? []) {
      if (!parameter.required && parameter.example !== undefined) {
        parameter.description = `${parameter.description ?? ""}\n\nFor example: \`${parameter.example}\``;
        delete parameter.example;
      }
    }
  }
  return description;
}

async function show() {
  const place = document.getElementById("routes");
  try {
    const answer = await fetch("openapi.json");
    if (!answer.ok) {
      throw new Error(`the router answered ${answer.status}`);
    }
    SwaggerUIBundle({
      spec: forForms(await answer.json()),
      dom_id: "#routes",
      layout: "BaseLayout",
      presets: [SwaggerUIBundle.presets.apis],
      deepLinking: true,
      docExpansion: "list",
      defaultModelsExpandDepth: -1,
      tryItOutEnabled: true,
      displayRequestDuration: true,
    });
  } catch (error) {
    place.textContent = `The description of the routes cannot be shown: ${error.message}. Load the page again.`;
  }
}

show();
