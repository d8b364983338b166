// Options of `@hey-api/openapi-ts`: imports with the extension that Node.js asks for.
export default { input: "openapi.json", output: { path: "generated/hey", importFileExtension: ".js" } };
