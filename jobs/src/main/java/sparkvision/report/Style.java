package sparkvision.report;

/** The style sheet of the page: light and dark by the reader's preference, light on paper. */
final class Style {

  static final String SHEET =
      """
      :root {
        color-scheme: light;
        --page: #ffffff; --panel: #f5f6f8; --text: #1c2330; --muted: #667084; --line: #e3e6eb;
        --blue: #2b5fd0; --orange: #d2571f; --teal: #14877a; --raw: #a9bfee; --on: #ffffff;
      }
      @media screen and (prefers-color-scheme: dark) {
        :root {
          color-scheme: dark;
          --page: #13161b; --panel: #1c2027; --text: #e4e8ef; --muted: #949eb0; --line: #2c323c;
          --blue: #7ba4ff; --orange: #ff9259; --teal: #4fc3b2; --raw: #3d5486; --on: #10131a;
        }
      }
      * { box-sizing: border-box; }
      html { -webkit-text-size-adjust: 100%; }
      body {
        margin: 0; background: var(--page); color: var(--text);
        font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Inter, Roboto, "Helvetica Neue", Arial, sans-serif;
        font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
        -webkit-print-color-adjust: exact; print-color-adjust: exact;
      }
      main { max-width: 1080px; margin: 0 auto; padding: 48px 28px 40px; }
      h1 { font-size: 28px; line-height: 1.2; font-weight: 650; letter-spacing: -0.015em; margin: 0 0 6px; }
      h2 { font-size: 19px; line-height: 1.3; font-weight: 620; letter-spacing: -0.01em; margin: 0 0 4px; }
      section { border-top: 1px solid var(--line); padding: 28px 0 32px; }
      figure { margin: 0; }
      svg { display: block; width: 100%; height: auto; overflow: visible; }
      .note, header .about { color: var(--muted); margin: 0 0 16px; max-width: 78ch; }
      .scroll { overflow-x: auto; }

      .figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px; margin: 26px 0 24px; padding: 0; }
      .figures div { background: var(--panel); border-radius: 8px; padding: 14px 16px 12px; }
      .figures dt { color: var(--muted); font-size: 13px; }
      .figures dd { margin: 0; font-size: 25px; line-height: 1.3; font-weight: 620; letter-spacing: -0.02em; white-space: nowrap; }
      .figures .main dd { color: var(--blue); }
      .facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 3px 20px; margin: 0 0 32px; font-size: 14px; }
      .facts dt { color: var(--muted); }
      .facts dd { margin: 0; }

      .legend { color: var(--muted); font-size: 13px; margin: 0 0 10px; }
      .key { display: inline-block; margin-right: 14px; white-space: nowrap; }
      .key i { display: inline-block; width: 14px; height: 10px; border-radius: 2px; margin-right: 6px; }
      i.raw { background: var(--raw); height: 3px; vertical-align: 3px; }
      i.smooth { background: var(--blue); height: 3px; vertical-align: 3px; }
      i.marked { background: var(--orange); height: 3px; vertical-align: 3px; }
      i.right, i.compute { background: var(--blue); }
      i.wrong, i.exchange { background: var(--orange); }
      i.wait { background: var(--raw); }

      .charts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 26px 36px; }
      .chart:first-child:nth-last-child(3) { grid-row: span 2; }
      .chart figcaption { font-size: 14px; margin-bottom: 6px; }
      .chart figcaption b { font-weight: 600; }
      .chart figcaption span { color: var(--muted); font-size: 13px; margin-left: 6px; }
      .chart .legend { margin: 6px 0 0 46px; }
      svg text { fill: var(--muted); font-size: 12px; }
      svg .end { text-anchor: end; }
      svg .middle { text-anchor: middle; }
      svg .grid { stroke: var(--line); }
      svg .axis { stroke: var(--muted); stroke-opacity: 0.55; }
      .chart path { fill: none; stroke-linejoin: round; stroke-linecap: round; }
      path.raw { stroke: var(--raw); stroke-width: 1; }
      path.smooth { stroke: var(--blue); stroke-width: 2; }
      path.marked { stroke: var(--orange); stroke-width: 1.75; }
      path.compute { stroke: var(--blue); stroke-width: 1.5; }
      path.wait { stroke: var(--raw); stroke-width: 1.5; }
      path.exchange { stroke: var(--orange); stroke-width: 1.5; }
      circle.marked { fill: var(--orange); stroke: var(--page); stroke-width: 1; }

      .confusion { max-width: none; }
      .confusion .right { fill: var(--blue); }
      .confusion .wrong { fill: var(--orange); }
      .confusion .empty { fill: var(--panel); }
      .confusion text.count { fill: var(--text); }
      .confusion text.on { fill: var(--on); }
      .map figcaption { color: var(--muted); font-size: 13px; margin-top: 8px; }

      .columns { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 24px 44px; align-items: start; }
      .beside { display: flex; flex-wrap: wrap; gap: 24px 32px; align-items: flex-start; }
      .beside .scroll { flex: none; max-width: 100%; }
      .beside table { flex: 1 1 300px; width: auto; }
      table { border-collapse: collapse; width: 100%; font-size: 14px; }
      caption { text-align: left; font-weight: 600; padding-bottom: 6px; }
      th { color: var(--muted); font-weight: 500; font-size: 13px; text-align: left; }
      th, td { padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line); }
      th:last-child, td:last-child { padding-right: 0; }
      .number { text-align: right; white-space: nowrap; }
      .accuracy td:first-child { max-width: 0; width: 32%; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
      .accuracy .wide { width: 36%; }
      .pairs td { max-width: 150px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
      .ranks .wide { width: 32%; min-width: 160px; }
      .ranks td { white-space: nowrap; }
      .bar { display: flex; height: 10px; background: var(--panel); border-radius: 2px; overflow: hidden; }
      .bar i { display: block; height: 10px; }

      .gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(138px, 1fr)); gap: 22px 18px; }
      .sheet { grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); }
      .card { break-inside: avoid; min-width: 0; }
      .picture { aspect-ratio: 1; background: var(--panel); border-radius: 6px; overflow: hidden; display: flex; align-items: center; justify-content: center; }
      .picture img { width: 100%; height: 100%; object-fit: contain; }
      .picture .pixelated { image-rendering: pixelated; }
      .missing { color: var(--muted); font-size: 13px; }
      .card figcaption { font-size: 13px; line-height: 1.4; padding-top: 7px; }
      .card figcaption > span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
      .card .said { display: flex !important; gap: 8px; justify-content: space-between; color: var(--orange); }
      .card .said b { font-weight: 600; overflow: hidden; text-overflow: ellipsis; }
      .card .said span { flex: none; }
      .card .id { color: var(--muted); font-size: 12px; }

      .overlay { break-inside: avoid; margin-bottom: 26px; }
      .triple { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 8px; }
      .triple img { display: block; width: 100%; border-radius: 6px; }
      .overlay .legend { margin: 8px 0 0; }
      .overlay .id { color: var(--muted); font-size: 12px; }

      summary { cursor: pointer; font-size: 19px; font-weight: 620; letter-spacing: -0.01em; }
      pre, code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 13px; }
      pre { background: var(--panel); border-radius: 8px; padding: 16px 18px; line-height: 1.5; white-space: pre-wrap; }
      footer { border-top: 1px solid var(--line); color: var(--muted); font-size: 13px; padding-top: 14px; }

      @media screen and (max-width: 760px) {
        main { padding: 28px 16px; }
        .charts, .columns { grid-template-columns: minmax(0, 1fr); }
      }
      @media print {
        @page { margin: 14mm; }
        body { font-size: 12px; }
        main { padding: 0; max-width: none; }
        #training, #confusion, #classes, tr { break-inside: avoid; }
        h2, .note, section > .legend, thead { break-after: avoid; }
        .legend, .chart figcaption, .chart figcaption span { font-size: 11px; }
        th { font-size: 11px; }
        .scroll { overflow: visible; }
        .confusion { max-width: 100%; }
        section { padding: 20px 0 22px; }
        .figures { grid-template-columns: none; grid-auto-flow: column; margin: 18px 0; }
        .figures dd { font-size: 20px; }
        .facts { margin-bottom: 22px; font-size: 12px; }
        table { font-size: 11px; }
        .charts { gap: 18px 24px; }
        .beside { display: block; }
        .beside .scroll { margin-bottom: 18px; }
        .beside table { width: 100%; }
        .beside .confusion { max-width: 125mm; }
        .gallery { grid-template-columns: repeat(6, 1fr); gap: 12px 10px; }
        .card figcaption { font-size: 10px; }
        .card .id { font-size: 9px; }
      }
      """;

  private Style() {}
}
