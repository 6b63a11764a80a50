/**
 * Text for Prometheus: OpenMetrics 1.0 with gauges only. So it is also valid in the older text format (0.0.4), where `# EOF` is a
 * comment. The textfile collector of node_exporter reads only that.
 */

/** A sample of a metric. */
export interface Sample {
  labels: Readonly<Record<string, string>>;
  value: number;
}

/** A metric and its samples. */
export interface Metric {
  /** Begins with `dialback_`; its unit is its last part. */
  name: string;
  /** One sentence, without backslashes and quotes. */
  help: string;
  samples: readonly Sample[];
}

/** OpenMetrics 1.0, "Escaping". Both formats escape these three, and nothing else. */
const ESCAPES: Record<string, string> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' };

/** Encodes metrics. Pure. A metric without samples is left out. */
export function encodeMetrics(metrics: readonly Metric[]): string {
  const texts = metrics.filter(({ samples }) => samples.length > 0).map(metricText);
  return `${texts.join('')}# EOF\n`;
}

function metricText({ name, help, samples }: Metric): string {
  const lines = samples.map(sample => `${name}${labelsText(sample.labels)} ${sample.value}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${lines.join('')}`;
}

function labelsText(labels: Sample['labels']): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

/** Escapes a label's value. A lone surrogate, which UTF-8 cannot hold, becomes U+FFFD. */
function escapeLabel(value: string): string {
  return value.toWellFormed().replace(/[\\"\n]/g, character => ESCAPES[character] ?? '');
}
