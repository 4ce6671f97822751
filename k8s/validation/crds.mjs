// Checks custom resources against the schemas that their operators publish, as compiled into packages.
//
// Called with the folder of the packages and a file of a JSON array of resources; prints one line for each fault. The
// schemas allow unknown fields, which a server would drop without a word: what the check never looked at is unknown.

import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const SCHEMAS = {
  'postgresql.cnpg.io/v1/Cluster':
    '@kubernetes-models/cloudnative-pg/_schemas/ComGithubCloudnativePgCloudnativePgApiV1Cluster.js',
  'monitoring.coreos.com/v1/ServiceMonitor':
    '@kubernetes-models/prometheus-operator/_schemas/' +
    'ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1ServiceMonitor.js',
};

// A view of a value that notes which of its fields are read.
function watched(value, path, seen) {
  if (value === null || typeof value !== 'object') return value;
  return new Proxy(value, {
    get(target, key) {
      const inner = target[key];
      if (typeof key === 'symbol' || !Object.hasOwn(target, key)) return inner;
      seen.add(`${path}/${key}`);
      return watched(inner, `${path}/${key}`, seen);
    },
  });
}

function* fields(value, path) {
  if (value === null || typeof value !== 'object') return;
  for (const [key, inner] of Object.entries(value)) {
    yield `${path}/${key}`;
    yield* fields(inner, `${path}/${key}`);
  }
}

const [packages, file] = process.argv.slice(2);
for (const resource of JSON.parse(readFileSync(file, 'utf8'))) {
  const name = `${resource.kind}/${resource.metadata?.name}`;
  const schema = SCHEMAS[`${resource.apiVersion}/${resource.kind}`];
  if (!schema) {
    console.log(`${name}: no schema is known for ${resource.apiVersion}`);
    continue;
  }
  const { validate } = await import(pathToFileURL(`${packages}/node_modules/${schema}`));
  const seen = new Set();
  if (!validate(watched(resource, '', seen))) {
    for (const error of validate.errors) {
      console.log(`${name}: ${error.instancePath}: ${error.keyword} ${JSON.stringify(error.params)}`);
    }
    continue;
  }
  // Metadata is the API server's, whatever the kind.
  const unknown = [...fields(resource, '')].filter((path) => !seen.has(path) && !path.startsWith('/metadata'));
  const outermost = unknown.filter((path) => !unknown.some((other) => path.startsWith(`${other}/`)));
  for (const path of outermost) console.log(`${name}: ${path}: the schema has no such field`);
}
