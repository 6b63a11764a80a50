// Goal: as store/metrics, and what promtool says of the metrics and of the alert rules.
import './metrics.test.ts';
