// Evaluated in the browser by page.test.ts: what a reader of the page sees that roles and names do not tell. The value is
// { measured, pale, overflow, cut, split }: how many texts and signs, those of a contrast below 4.5 (3 for signs and
// lines), by how many pixels the page is too wide, and what sticks out of the window or of its own box.
;(() => {
  const colours = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true })
  const rgba = (css) => {
    colours.clearRect(0, 0, 1, 1)
    colours.fillStyle = css
    colours.fillRect(0, 0, 1, 1)
    return [...colours.getImageData(0, 0, 1, 1).data]
  }
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((value) => {
      const part = value / 255
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * x + 0.7152 * y + 0.0722 * z
  }
  const backOf = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const back = rgba(getComputedStyle(at).backgroundColor)
      if (back[3] === 255) return back
    }
    throw new Error('nothing is behind the page')
  }
  const ratio = (css, element) => {
    const [one, other] = [luminance(rgba(css)), luminance(backOf(element))]
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)
  }
  const shown = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      if (getComputedStyle(at).clipPath !== 'none') return false
    }
    const { width, height } = element.getBoundingClientRect()
    return width > 1 && height > 1
  }
  const all = [...document.body.querySelectorAll('*')].filter(shown)
  const ownText = (element) =>
    [...element.childNodes]
      .filter(({ nodeType }) => nodeType === 3)
      .map(({ data }) => data.trim())
      .join('')
  const texts = all.filter((element) => ownText(element) !== '' && !element.closest('svg'))
  const signs = all.filter((element) => element.matches('.mark'))
  const lines = all.filter((element) => element.matches('.lines path, .data'))
  const inSvg = all.filter((element) => element.matches('svg text'))
  const measured = [
    ...texts.map((element) => [
      ownText(element),
      ratio(getComputedStyle(element).color, element),
      4.5,
    ]),
    ...inSvg.map((element) => [
      ownText(element),
      ratio(getComputedStyle(element).fill, element),
      4.5,
    ]),
    ...signs.map((element) => [
      element.dataset.mark,
      ratio(getComputedStyle(element).color, element),
      3,
    ]),
    ...lines.map((element) => [
      element.dataset.mark,
      ratio(getComputedStyle(element).stroke, element),
      3,
    ]),
  ]
  return {
    measured: measured.length,
    pale: measured.filter(([, contrast, needed]) => contrast < needed),
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    cut: all
      .filter(
        (element) =>
          !element.closest('.skip') && element.getBoundingClientRect().right > innerWidth + 0.5,
      )
      .map((element) => element.outerHTML.slice(0, 80)),
    split: texts
      .filter(
        (element) =>
          element.scrollWidth > element.clientWidth + 1 &&
          getComputedStyle(element).display !== 'inline',
      )
      .map((element) => ownText(element)),
  }
})()
